"""Every parameter of logins has a test of what it does, or a reason why it does nothing."""

from twisted.trial.unittest import SynchronousTestCase

from tests.kit.effect_rows import RowsMixin, names_of, tests_of
from twisted_mta.config.parameters_sasl import GeneralSaslRows, SaslRows

ROWS = names_of(GeneralSaslRows, SaslRows)

NO_EFFECT = {
    "cyrus_sasl_config_path": "there is no Cyrus SASL that would read it",
    "smtp_sasl_path": "of no effect in Postfix with Cyrus SASL, which is the only type for clients",
}
"""Parameters that are read and then do nothing, and why."""

CASE = "tests.scenarios.test_sasl_parameters.EffectTests"

TESTS = tests_of(ROWS, NO_EFFECT, CASE)
"""The test of each of the others."""


class RowsTests(RowsMixin, SynchronousTestCase):
    """The registry and the tests of its parameters."""

    names, no_effect, case = ROWS, NO_EFFECT, CASE
