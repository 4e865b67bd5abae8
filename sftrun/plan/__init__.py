"""Recipe + Facts -> Plan.  Pure: no clock, no network, no environment."""
