"""Something to say, in many languages: common words in a random order, or syllables that mean nothing.

Meaning does not matter to lips, phonemes and their neighbours do. Syllables of lips (p, b, m, f, v, o, u) are a little
more frequent than in languages; engines read them by the rules of the language that they are asked for.
"""

from __future__ import annotations

import numpy as np

_WORDS = {
    "en-us": "people about before number because between maybe problem simple open public from move above family "
    "probably remember both home moment help keep stop map job beam room time some from them five voice very over love "
    "leave after before life food good book woman window would water quick question always one two no so go know show "
    "think this that with thing year day street light green school city car and the of to in is it you he was for on "
    "are as his they at be have or had by hot word but what all were we when your can said there use an each which she "
    "do how their if will up other out many then these her would make like him into look more write see way could",
    "en-gb": "weather morning bottle happy apple rabbit umbrella empty jump lamp bump pump shop cup tape web club pub "
    "maybe member summer hammer bumble people purple pebble temple symbol number timber bomb comb limb foam from film "
    "move have give love five live save wave evening heavy seven oven never over fish fall far few found after soft",
    "es": "pero porque también tiempo primero pueblo problema hombre mujer mano mesa beber vivir poder saber hablar "
    "siempre nunca tampoco campo tiempo bomba ambos un por para con una como más bien muy poco mucho bueno nuevo fuera "
    "familia fácil difícil cuando donde quien todo nada algo hoy ayer mañana agua fuego luna sol casa perro gato libro",
    "de": "aber über immer bitte haben leben bleiben lieben arbeiten probieren Problem Beispiel Mutter Baum Papier "
    "Apfel Pferd kaufen laufen offen vier fünf zwölf von vom zum im am um bekommen schreiben Abend Morgen Sommer "
    "Wohnung Wasser warum wieder zwei schwer schön Tür früh grün und der die das ist nicht ein auf mit sich auch nach",
    "fr-fr": "avec beaucoup problème possible premier peuple pomme femme homme comme même aime semble ensemble temps "
    "parle pour peu plus bien bon beau bouche tomber appeler remplir vivre voir voiture neuf oeuf fort vous nous tout "
    "deux heureux peur sûr rue lune une brun matin maison monde jamais toujours maintenant depuis chose jour soir",
    "it": "sempre prima problema tempo uomo donna bambino bambola mamma babbo bello buono dopo sopra campo ombra "
    "bevo vivo fare famiglia fuoco fiume vita voce vero nuovo acqua quando quanto questo quello molto poco tutto",
    "pt-br": "tempo problema também sempre bem bom uma mamãe papai homem mulher pouco novo livro problema beber viver "
    "fazer família fogo vida você vou falar palavra campo sombra pão mão não muito quando quem tudo nada porque",
    "pl": "problem prawda proszę bardzo być był mama babcia pomoc powiem lubię mówić może mamy wiem woda wszystko fala "
    "film fabryka worek powoli bomba pompa ubranie zabawa ręka noga dom okno",
    "ru": "мама папа баба время первый потом можно понимать люблю работа большой быть был вода вопрос вчера мой мир "
    "помощь память фильм форма голова слово окно дом другой утро",
    "tr": "merhaba bugün baba anne beni beraber problem kapı köprü para pembe mavi müzik film fabrika ev vermek büyük "
    "küçük göz gün su sabah akşam bu bir ben sen",
    "hi": "मैं मेरा माँ पिता बहुत बात पानी प्रेम भाई फल वह क्या काम नाम समय बाद अब सब पर में भी बड़ा पुराना",
    "ja": "こんにちは みず ほん まち ひと ぱん ばん もの ふゆ ふね うみ そら いま まえ また もっと ぼく",
    "cmn": "你好 朋友 明天 妈妈 爸爸 不 没有 面包 跑步 飞机 风 我们 他们 工作 喜欢 东西 中国 苹果 奔跑 慢慢 方法 朋友",
    "ar": "مرحبا باب ماء محمد بيت مدينة ممكن بعد قبل فوق مفتاح يوم قلب بلد نوم موز فم",
}
_SYLLABLE_VOICES = (
    "en-us",
    "es",
    "de",
    "fr-fr",
    "it",
    "pt",
    "nl",
    "sv",
    "tr",
    "fi",
    "id",
    "ro",
    "cs",
    "hu",
    "sw",
    "da",
)
_ONSETS = (*"pbmpbmfvwtdnkgslrjh", "pl", "br", "fr", "st", "tr", "")
_NUCLEI = ("a", "e", "i", "o", "u", "a", "o", "u", "ai", "ou")
_CODAS = ("", "", "", "", "n", "m", "p", "b", "t", "s", "l", "r", "f")


def sentence(rng: np.random.Generator) -> tuple[str, str]:
    """(text, language tag): 4 to 12 words with some commas."""
    count = int(rng.integers(4, 13))
    if rng.random() < 0.3:
        language = str(rng.choice(_SYLLABLE_VOICES))
        words = ["".join(_syllable(rng) for _ in range(int(rng.integers(1, 4)))) for _ in range(count)]
    else:
        languages = list(_WORDS)
        # Half of it English: the longest list, and the most frequent language.
        language = languages[int(rng.integers(2))] if rng.random() < 0.4 else str(rng.choice(languages))
        words = [str(word) for word in rng.choice(_WORDS[language].split(), size=count)]
    marked = [word + ("," if rng.random() < 0.12 else "") for word in words]
    return " ".join(marked).rstrip(",") + str(rng.choice([".", ".", "?", "!"])), language


def _syllable(rng: np.random.Generator) -> str:
    return "".join(str(rng.choice(part)) for part in (_ONSETS, _NUCLEI, _CODAS))
