"""``python -m twisted_mta.cli`` is the ``smtpdeliver`` command."""

import sys

from twisted_mta.cli import main

sys.exit(main())
