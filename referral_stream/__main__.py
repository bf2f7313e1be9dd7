"""``python -m referral_stream``: the command line."""

from referral_stream.cli import main

if __name__ == "__main__":
    main()
