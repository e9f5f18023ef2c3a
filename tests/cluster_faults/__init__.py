"""Faults on purpose: processes killed, nodes lost, disks full, drivers stopped. Afterwards nothing is lost or half done."""
