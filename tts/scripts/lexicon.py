"""Short words that decide: abbreviations, sounds, particles of names. Lower case; the commonest of several languages,
since a word that is missing here costs a pause or a speaker's name, and no words of the speech."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ABBREVIATIONS = _words(
    "dr mr mrs ms mx prof st sr sra srta jr vs etc e.g i.e z.b bzw u.a d.h usw ca cf al inc ltd co corp dept est gen"
    " col lt capt sgt rev hon gov sen rep pres jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri"
    " hr fr mme mlle ud uds vd vds ed eds avda dña dn ing lic arq dott sig sigg av bd approx a.m p.m u.s u.k"
)
"""Without the dot at their end, after which a sentence mostly goes on."""

BEFORE_NUMBERS = _words("no nr nº núm num n p pp s vol fig abb art kap ch sec pág pag ver v")
"""Abbreviations only where a number follows; "No." alone is an answer."""

PARTICLES = _words("de da do dos das del della di du la le el al von van der den zu bin ibn y e")
"""Words inside a name that are written small."""

SOUNDS = _words(
    "laughter laughs laughing laugh music applause cheering cheers sigh sighs sighing gasp gasps silence noise crying"
    " cries sobs sobbing cough coughs coughing whispers whispering whisper shouts shouting screams screaming groans"
    " groaning grunts grunting chuckle chuckles chuckling giggles giggling clapping inaudible indistinct"
    " unintelligible crosstalk beep beeping static pause bell ringing rings thunder footsteps knock knocking knocks"
    " slams singing sings humming snoring sniffles yells panting blank_audio risas risa ríe ríen música aplausos"
    " suspira silencio llora tos rires rire musique applaudissements soupir soupire silence lachen lacht musik applaus"
    " seufzt gelächter stille hustet risate musica applausi sospira risos riso palmas"
)
"""What stands in brackets and is heard, but not said: no name, although it may have a capital letter."""
