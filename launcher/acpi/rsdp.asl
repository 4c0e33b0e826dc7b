// SPDX-License-Identifier: GPL-2.0-only
// The root pointer; acpi.c fills in the XSDT's address.
[0008]                          Signature : "RSD PTR "
[0001]                           Checksum : 00
[0006]                             Oem ID : "KILN  "
[0001]                           Revision : 02
[0004]                       RSDT Address : 00000000
[0004]                             Length : 00000024
[0008]                       XSDT Address : 0000000000000000
[0001]                  Extended Checksum : 00
[0003]                           Reserved : 000000
