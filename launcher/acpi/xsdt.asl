// SPDX-License-Identifier: GPL-2.0-only
// The list of tables; acpi.c fills in the addresses: FADT, MADT, MCFG. (iasl wants them non-zero.)
[0004]                          Signature : "XSDT"
[0004]                       Table Length : 00000000
[0001]                           Revision : 01
[0001]                           Checksum : 00
[0006]                             Oem ID : "KILN  "
[0008]                       Oem Table ID : "KILNXSDT"
[0004]                       Oem Revision : 00000001
[0004]                    Asl Compiler ID : "INTL"
[0004]              Asl Compiler Revision : 00000000

[0008]             ACPI Table Address   0 : 0000000000000001
[0008]             ACPI Table Address   1 : 0000000000000001
[0008]             ACPI Table Address   2 : 0000000000000001
