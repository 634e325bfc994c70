"""``python -m s3writer``, and the command ``s3writer``."""

import sys


def main() -> int:
    """The command line, or how to get it."""
    try:
        from s3writer.cli import run
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        print(f"s3writer: {error}; the command line needs its extra: pip install 's3writer[cli]'", file=sys.stderr)
        return 2
    return run(sys.argv[1:], is_program=True)


if __name__ == "__main__":
    sys.exit(main())
