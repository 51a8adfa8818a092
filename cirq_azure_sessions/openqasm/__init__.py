"""OpenQASM 2 programs, as files of users and as jobs of the emulator.

reader    from text to statements: operations of Cirq, and conditions on bits
tokens    tokens and arithmetic, which the emulator's readers of Quil and of filters share
gates     the gates of `qelib1.inc` and `hqslib1.inc` as gates of Cirq
circuit   a program as a circuit of Cirq

It shares no code with the writer in `formats`: a mistake in both would cancel out.
"""
