"""What bench/judge.py is made of.

pairs: which speech each clip gets; spoken: scripts with the moment of every phoneme; seen: landmarks of a film;
aligned: its face held still; measures: figures from landmarks; pixels: figures from pixels; dubbing: the films to
judge; controls: spoilt films; blind: the blind choice, looks: what it measures; sheet: pictures.
"""
