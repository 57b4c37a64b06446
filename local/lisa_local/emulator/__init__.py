"""The AWS emulator, hosted in a process of ours so that what it lacks, or does unlike AWS, can be bridged.

`environment` closes the process to its caller's environment, `bridges` patches the emulator, `host` serves
it, `generations` and `checkpoint` keep its state through a crash, `internal` answers the other components.
"""
