"""Faults on purpose: killed processes, lost nodes, full disks, stopped drivers; nothing may be lost or half done."""
