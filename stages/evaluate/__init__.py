"""Figures of finished films, and the verdict on them: of the command and the stage evaluate, and of bench/judge.py.

film: output and source side by side; windows: which frames are measured; seen, speaking: landmarks; aligned: the face
held still; wanted: what the speech asks for; sound: the output's sound; measures: figures from landmarks; pixels,
outside: from pixels; identity: who it is; lse: SyncNet; rows: the table of measured frames; figures: of any part of it;
thresholds, verdict: good, look or bad; curves: for plots; evaluate: all of it.
"""
