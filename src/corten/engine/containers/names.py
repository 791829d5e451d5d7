"""Names of containers: which can be one, and those of containers that were given none, as "steady_noether"."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from corten.errors import Invalid

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")

_ADJECTIVE_TEXT = """
airy amber ample apt arctic artful ashen awake balmy blithe bold brave brief bright brisk bronze calm candid careful
chilly civil clear coastal copper cosmic crisp curious daring deft dewy direct dusky eager early earnest easy even
fair fearless fertile fine firm fleet fluent fond frank fresh gallant generous gentle gilded glad golden graceful
grand green hardy hazel hearty helpful honest humble ivory jaunty joyful keen kind lasting leafy level lively logical
loyal lucid lunar maple mellow merry mild mindful misty modest mossy neat nimble noble northern novel olive open
orderly patient placid plain plucky polite prompt proud quick quiet ready regular rested robust rosy rustic safe sandy
serene sharp shiny silent silver simple sincere sleek smooth snowy sober solar solid spry stable steady stellar stoic
sturdy subtle sunny supple sure swift tactful tidy tranquil true trusty upbeat valiant verdant vivid warm wary whole
willing windy wise witty woven zesty
"""
_ADJECTIVES = tuple(_ADJECTIVE_TEXT.split())
_SURNAME_TEXT = """
abel agnesi airy ampere anning archimedes aryabhata avicenna babbage banneker bassi bell bernoulli bessel bohr bolyai
boole bose boyle brahe brahmagupta burnell cannon cantor carson cartwright cassini cauchy cayley celsius chandra
chatelet chebyshev clairaut cori crick curie dalton darwin davy descartes dijkstra dirac dirichlet easley einstein
eratosthenes erdos escher euclid euler faraday fermat fermi feynman fibonacci fleming fourier franklin fresnel galileo
galois galton gauss germain godel goodall hadamard halley hamilton hardy heisenberg herschel hertz hilbert hodgkin
hooke hopper hubble humboldt huygens hypatia jacobi jemison johnson joule kelvin kepler khayyam khwarizmi klein
kovalevskaya lagrange lamarr laplace lavoisier leavitt legendre leibniz linnaeus lobachevsky lorenz lovelace mach
maxwell mayer mcclintock meitner mendel mendeleev mercator merian minkowski mirzakhani mitchell mobius morse napier
nash neumann newton nightingale nobel noether ohm oresme ostrom pascal pasteur pauling payne planck poincare poisson
ptolemy pythagoras raman ramanujan riemann robinson rubin rutherford sagan schrodinger shannon sinoussi snell
sommerville stokes tarski tesla thales torricelli turing vaughan venn viete volta wallace watt weierstrass weyl wiles
wu yalow yonath yukawa
"""
_SURNAMES = tuple(_SURNAME_TEXT.split())


def unused(taken: Callable[[str], bool]) -> str:
    """A name that is not `taken`, with a number behind it after some attempts."""
    for attempt in range(1000):
        name = f"{random.choice(_ADJECTIVES)}_{random.choice(_SURNAMES)}"
        if attempt >= 4:
            name += str(random.randrange(10 ** min(9, 1 + attempt // 4)))
        if not taken(name):
            return name
    raise AssertionError("a thousand random names with nine digits cannot all be taken")


def check_name(name: str) -> str:
    """The name without its leading slash. Raises Invalid for what cannot be a name."""
    if not _NAME.match(name):
        raise Invalid(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return name.removeprefix("/")
