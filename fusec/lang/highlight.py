"""A Pygments lexer for `.fuse`: how documentation, notebooks and pagers colour a spec.

Pygments finds it by the entry point `fuse` of the installed package. It needs Pygments alone, so it has lists of words
of its own; `tests/lang/test_highlight.py` holds them to the grammar and the tables of the language.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pygments.lexer import RegexLexer, bygroups, include, words
from pygments.token import (
    Comment,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
)

KINDS = ("weight", "mut", "distinct")
DTYPES = (
    *("f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1"),
    *("i64", "i32", "i8", "u8", "i4", "u4", "bool"),
)
CONSTANTS = ("pi", "inf", "tiny", "true", "false")
PRIMITIVES = (
    *("abs", "amax", "amin", "cast", "ceil", "concat", "cos", "dot", "erf", "erfc", "exp", "exp2", "expm1", "exponent"),
    *("floor", "halves", "index", "interleave", "join", "log", "log1p", "log2", "max_of", "maximum", "mean", "minimum"),
    *(
        "pairs",
        "rename",
        "round",
        "rsqrt",
        "segment",
        "sigmoid",
        "sign",
        "sin",
        "split",
        "sqrt",
        "sum",
        "tanh",
        "where",
    ),
)
FUNCTIONS = (
    *("clamp", "dequantize", "dequantize_asymmetric", "gelu", "gelu_tanh", "layernorm", "log_of_sum", "log_softmax"),
    *("logsumexp", "nvfp4_total", "quantize", "quantize_asymmetric", "quantize_asymmetric_by", "quantize_bounded"),
    *("quantize_by", "quantize_mx", "quantize_nvfp4", "quantize_pow2", "relu", "rmsnorm", "rmsnorm_rounded"),
    *("rmsnorm_unit_offset", "rope", "rope_half", "rope_interleaved", "rope_interleaved_full", "silu", "softmax"),
    "softplus",
)
"""Of the standard library."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BUILTINS = (*PRIMITIVES, *FUNCTIONS)


class FuseLexer(RegexLexer):
    """Specs of fusec. What a word is, its place says: `weight` may be a kind, and a name behind it."""

    name = "fuse"
    aliases = ("fuse", "fusec")
    filenames = ("*.fuse",)
    url = "https://pypi.org/project/fusec/"
    version_added = ""

    tokens: ClassVar[dict[str, list[Any]]] = {
        "root": [
            (r"^(op|fn)([ \t]+)(" + _NAME + ")", bygroups(Keyword, Whitespace, Name.Function)),
            (r"^(module)([ \t]+)(" + _NAME + ")", bygroups(Keyword, Whitespace, Name.Class)),
            (
                r"^(overload)([ \t]+)(" + _NAME + r")([ \t]+)(of)([ \t]+)(" + _NAME + ")",
                bygroups(Keyword, Whitespace, Name.Function, Whitespace, Keyword, Whitespace, Name.Function),
            ),
            (r"^(use)([ \t]+)(" + _NAME + ")", bygroups(Keyword.Namespace, Whitespace, Name.Namespace)),
            (r"(of)([ \t]+)(" + _NAME + ")", bygroups(Keyword, Whitespace, Name.Function)),
            (r"(" + "|".join(KINDS) + r")(?=[ \t]+(?!(?:and|or)\b)[A-Za-z_])", Keyword.Declaration),
            (r"where\b(?!\()", Keyword),
            (r"return\b", Keyword),
            (r"in\b(?=\s*\{)", Keyword),
            (r"\{", Punctuation, "set"),
            (r"(dim|dtype)(?=\()", Keyword.Type),
            (r"(=)(\s*)(infer)\b", bygroups(Operator, Whitespace, Keyword.Pseudo)),
            (r"(accum)(\s*)(=)(\s*)(exact|fast)\b", bygroups(Name, Whitespace, Operator, Whitespace, Keyword.Pseudo)),
            (words(("ieee", "tf32"), prefix=r"\b", suffix=r"\b"), Keyword.Pseudo),
            (r"bounded(?=\()", Keyword.Pseudo),
            (words(_BUILTINS, prefix=r"\b", suffix=r"(?=\()"), Name.Builtin),
            (_NAME + r"(?=\()", Name.Function),
            include("terms"),
        ],
        "set": [
            (r"\}", Punctuation, "#pop"),
            (words(_BUILTINS, prefix=r"\b", suffix=r"\b"), Name.Builtin),
            include("terms"),
        ],
        "terms": [
            (r"\s+", Whitespace),
            (r"#[^\n]*", Comment.Single),
            (r'"""[\s\S]*?"""', String.Doc),
            (words(DTYPES, prefix=r"\b", suffix=r"\b"), Keyword.Type),
            (words(CONSTANTS, prefix=r"\b", suffix=r"\b"), Keyword.Constant),
            (words(("and", "or", "not"), prefix=r"\b", suffix=r"\b"), Operator.Word),
            (r"0[xX][0-9a-fA-F]+", Number.Hex),
            (r"0[bB][01]+", Number.Bin),
            (r"(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+", Number.Float),
            (r"\d+", Number.Integer),
            (_NAME, Name),
            (r"->|\.\.\.", Punctuation),
            (r"\*\*|//|<<|>>|[=!<>+]=|[-+*/%&|^~<>=]", Operator),
            (r"[()\[\],:]", Punctuation),
            (r"\ufeff", Text),
        ],
    }
