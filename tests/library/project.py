"""A Django project with a database in a file, set up without a settings module."""

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db.models import Model

PLAIN = "Grüße, 日本語, текст, 𝄞. "
ALPHABET = "Grüße ğüş 日本語 текст 𝄞 <&>\"'\t\n"


def set_up(database: Path, **others: dict[str, Any]) -> None:
    """Configure Django and make the tables, in ``database``; there may be ``others``."""
    configure(database, **others)
    call_command("migrate", run_syncdb=True, verbosity=0)


def configure(database: Path, **others: dict[str, Any]) -> None:
    """Configure Django for a ``database`` that is there."""
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}, **others},
        INSTALLED_APPS=["tests.library", "s3writer.django"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()


def rows(using: str = "default") -> Iterator[Model]:
    """Every row of every table that ``fill`` fills."""
    from tests.library.models import Author, Book, Loan

    for model in (Author, Book, Loan):
        yield from model.objects.using(using).order_by("pk").prefetch_related(*["translators"] * (model is Book))


def values(instance: Any) -> tuple[Any, ...]:
    """What a row holds, comparable."""
    columns = {field.attname: field.value_from_object(instance) for field in instance._meta.concrete_fields}
    columns["cover"] = columns.get("cover") and bytes(columns["cover"])
    return type(instance).__name__, columns


def fill(books: int, summary_length: int, using: str = "default") -> None:
    """As many books, a tenth as many authors, twice as many loans; the same rows for the same numbers.

    Nothing that Django's own formats lose: JSON keeps milliseconds, XML strips the white space around a text.
    """
    from tests.library.models import Author, Book, Loan

    authors = Author.objects.using(using).bulk_create(
        Author(name=f"{ALPHABET.strip()} {number}", born=_day(number) if number % 3 else None)
        for number in range(max(1, books // 10))
    )
    summary = (PLAIN * (summary_length // len(PLAIN) + 1))[:summary_length].strip()
    written = Book.objects.using(using).bulk_create(
        (
            Book(
                title=f"Book {number} — {ALPHABET[number % len(ALPHABET) :]}".strip(),
                author=authors[number % len(authors)],
                price=Decimal(number) / 7 if number % 5 else None,
                added=dt.datetime(2020, 1, 1, 12, 30, 15, 123000, tzinfo=dt.UTC) + dt.timedelta(hours=number),
                summary=summary,
                cover=bytes(range(number % 256)) if number % 2 else None,
            )
            for number in range(books)
        ),
        batch_size=1000,
    )
    Book.translators.through.objects.using(using).bulk_create(
        Book.translators.through(book=book, author=authors[(number * 7) % len(authors)])
        for number, book in enumerate(written)
        if number % 4 == 0
    )
    Loan.objects.using(using).bulk_create(
        (
            Loan(
                book=written[number % books] if number % 6 else None,
                days=dt.timedelta(days=number % 30, microseconds=5) if number % 2 else None,
                rating=number / 3 if number % 3 else None,
                notes={"ключ": [number, None, "𝄞"]},
            )
            for number in range(2 * books)
        ),
        batch_size=1000,
    )


def _day(number: int) -> dt.date:
    return dt.date(1900, 1, 1) + dt.timedelta(days=number % 40_000)
