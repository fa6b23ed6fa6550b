"""What people write into SeriesDescription, ProtocolName and SequenceName, and what it means.

One table a question, read from the top. Texts are in lower case, ``_ . , ; : ( ) [ ] ^ -`` turned into blanks; ``~`` in
a pattern says that no word goes on there (between two letters it fails, a digit ends a word).

Sources: product names of the vendors' sequences (GE, Siemens, Philips, Canon, Hitachi), trade names of the agents,
names in public data sets (BraTS t1ce and t1gd, ReMIND postcontrast, RIDER +c), and the words for "contrast medium" in
the languages of reading rooms: German KM, Italian mdc, French inj, Spanish civ and cte, Czech and Slovak KL, Russian
KU, Chinese, Japanese.
"""

import re
from typing import NamedTuple


class Word(NamedTuple):
    """What a text is found to say, and the letters that say it."""

    meaning: str
    letters: str


Table = tuple[tuple[str, re.Pattern[str]], ...]
_NO_WORD_GOES_ON = r"(?:(?<![^\W\d_])|(?![^\W\d_]))"


def _table(*rows: tuple[str, str]) -> Table:
    return tuple((meaning, re.compile(pattern.replace("~", _NO_WORD_GOES_ON))) for meaning, pattern in rows)


_AGENT = (
    r"gado\w*|gad~|gd~|magnevist|dotarem|prohance|multihance|omniscan|optimark"
    r"|clariscan|gadavist|elucirem|vueway|artirem"
)
_MEDIUM = rf"{_AGENT}|contr\w*|kontr\w*|контр\w*|ку~|k ?m~|k ?l~|m ?d ?c~|c ?i ?v~|cte~|iv~|inj\w*|enh\w*|c~"

# Said of a series, these words leave it out. A T1 FLAIR and a T1 dark fluid are T1.
NEVER = _table(
    ("localizer", r"~(local[iy][sz]er|localisateur|lokali[sz]er|scouts?|survey|(3|three) ?plane|planscan|loc)~"),
    ("subtraction", r"~(subs?(?! ?mm)|subtr\w*|soustr\w*|sottr\w*|sustr\w*)~"),
    ("projection", r"~(m ?i ?p|minip|mpip|projection)s?~"),
    ("angiography", r"~(mra|mrv|tof|angio\w*|veno\w*|pca|[23]dpc|phase contrast|inhance|cemra|trance|twist|tricks)~"),
    ("susceptibility", r"t2 ?(\*|star)|~(swi|swan|swip|hemo|qsm)~"),
    ("diffusion", r"~(e?adc|dwi|dti|dsi|diff\w*|trace\w*|noddi|b ?(500|800|1000)|apparent diff\w*)~"),
    ("perfusion", r"~(perf\w*|dsc|dce|asl|\w*casl|cbf|r?cbv|mtt|ttp|tmax|k ?trans|dyn\w*)~"),
    ("functional", r"~(f ?mri|bold|fcmri|rs ?fmri|rest(ing)? ?state)~"),
    ("field map", r"~(field ?map\w*|gre ?field\w*|b[01] ?map)~"),
    ("spectroscopy", r"~(mrs|csi|svs|spectro\w*)~"),
    ("elastography", r"~(mre|elasto\w*)~"),
    ("magnetisation transfer", r"~(mtc|mtr|magneti[sz]ation transfer)~"),
    ("parametric map", r"~t1 ?map|~mapping~|t1 ?rho"),
    ("FLAIR", r"(?<!t1)(?<!t1 )(flair|dark ?fluid)"),
    ("T2", r"t2(?!\d)|~(fiesta|ciss|true ?fisp|b ?ffe)~"),
    ("proton density", r"~(pdw?|proton density)~"),
    ("inversion recovery of fat", r"~(stir|tirm)~"),
)

T1 = _table(
    ("T1", r"t1(?!\d)"),
    ("T1 (Siemens)", r"~(me)?mp2?rage|~tfl|~vibe|~fl3d|~flash|~mpr~"),
    ("T1 (GE)", r"~(ir ?)?f?spgr|~bravo|~lava"),
    ("T1 (Philips)", r"~(3d ?)?tfe~|~e?thrive|~ffe~"),
    ("T1 (others)", r"~(3d ?)?gre~|~rf ?fast~|~primefast"),
)

# Said of a derived series: a copy of another one.
REFORMATTED = _table(("reformatted", r"~(mpr|mpvr|reform\w*|refmt|recon\w*)~"))

# "With and without" is the name of a whole examination: it says nothing of one series.
_BOTH = re.compile(
    r"~(w(ith)? ?(/|&|\+|and)? ?w(ith)? ?/? ?o(ut)?|mit und ohne)~( ?(contrast|gad\w*|iv|km)~)*".replace(
        "~", _NO_WORD_GOES_ON
    )
)

WITHOUT_CONTRAST = _table(
    (
        "without contrast",
        rf"~(w ?/? ?o|without|ohne|kein|sans|senza|sin|sem|zonder|uten|utan|uden|bez|без|no|non) ?(iv )?({_MEDIUM})",
    ),
    ("without contrast", r"~(w ?/? ?o|without|ohne|sans|senza)$"),
    ("without contrast", r"~(unenh\w*|kontrasts[iı]z|nati[vf]\w{0,2}|non ?con|plain|nc)~|平扫|平掃|単純"),
    ("before contrast", r"~(pre|pré)(?! ?(op|scan|surg|treat|rt~|rad|bx|biops|stereo|sat))(~|con|gad|gd|km|inj|c~)"),
    (
        "before contrast",
        rf"~(vor|voor|avant|before|prior to|antes|prima|fore|före|før|przed|до) ?(de |del |di |d )?({_MEDIUM})",
    ),
)

_NOT_CONTRAST = "er|op|ur|proc|rt~|rad|treat|ther|surg|bx|biops|shunt|chemo|lab|ict|nat|trau"
WITH_CONTRAST = _table(
    ("agent", rf"~({_AGENT})|t1 ?w? ?(gd|gad)"),
    ("contrast", r"(?<!phase )(?<!tissue )contrast|kontrast|контраст|~с ку~|增强|增強|造影"),
    ("contrast", r"\+ ?(c|k|km|gd|ce|kl|mdc)~|~c ?\+|t1 ?w? ?ce?~|~ce~|w/ ?c~"),
    ("contrast", r"~(k ?m|m ?d ?c|c ?i ?v|k ?l)~|~(con|com) cte"),
    ("contrast", r"~(inj\w*|enh|enhanced)~"),
    ("after contrast", rf"post(?! ?({_NOT_CONTRAST}))|~(nach|apr[eè]s|dopo|despu[eé]s|depois)~"),
)

ELSEWHERE = _table(
    (
        "spine",
        r"~([ctl] ?sp(ine)?|spine\w*|spinal|cervical|lumb\w*|thoracic|wirbels\w*|[hbl]ws|rachis|colonna|columna)~",
    ),
    ("trunk", r"~(chest|thorax|breasts?|mamm\w*|heart|cardiac|abd(omen)?|liver|pancreas|kidneys?|renal)~"),
    ("trunk", r"~(pelvis|prostat\w*|uterus|rectum|whole ?body)~"),
    ("limb", r"~(hips?|knees?|ankles?|foot|feet|shoulders?|elbows?|wrists?|hands?|legs?|femur|tibia|extremity|arms?)~"),
)
HEAD = _table(
    ("head", r"~(brain|head|skull|cerebr\w*|cr[aâ]ne|cran\w*|sch[aä]del|kopf|enceph\w*|neuro\w*|hirn|testa)"),
)


def find(table: Table, text: str) -> Word | None:
    """Find the first row of a table that a text matches."""
    plain = plain_text(text)
    for meaning, pattern in table:
        match = pattern.search(plain)
        if match:
            return Word(meaning, match.group().strip())
    return None


def plain_text(text: str) -> str:
    """Lower the case, turn separators into blanks, and take "with and without" away."""
    lowered = re.sub(r"[\s_.,;:()\[\]^-]+", " ", text.lower()).strip()
    return _BOTH.sub(" ", lowered).strip()
