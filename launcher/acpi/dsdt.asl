// SPDX-License-Identifier: GPL-2.0-only
// What the guest's kernel cannot probe: sleep state S5, the serial port and
// the clock. CPUs are in the MADT; the power button is a fixed-feature one.
DefinitionBlock ("", "DSDT", 2, "KILN", "KILNDSDT", 1)
{
    // SLP_TYPa for S5; pm.c knows the same number as PM_SLEEP_OFF.
    Name (_S5, Package () { 5, 0, 0, 0 })

    Scope (\_SB)
    {
        Device (COM1)
        {
            Name (_HID, EisaId ("PNP0501"))
            Name (_UID, 1)
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x03F8, 0x03F8, 0, 8)
                IRQNoFlags () { 4 }
            })
        }

        Device (RTC0)
        {
            Name (_HID, EisaId ("PNP0B00"))
            Name (_CRS, ResourceTemplate ()
            {
                IO (Decode16, 0x0070, 0x0070, 0, 2)
                IRQNoFlags () { 8 }
            })
        }
    }
}
