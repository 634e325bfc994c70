"""Authors, books, loans and notes: foreign keys, many-to-many, unicode, dates, decimals and nulls."""

from typing import Any

from django.db import models


class Authors(models.Manager):
    """Knows them by their names."""

    def get_by_natural_key(self, name: str) -> Any:
        """The one of that name."""
        return self.get(name=name)


class Author(models.Model):
    """Somebody who writes."""

    name = models.CharField(max_length=100)
    born = models.DateField(null=True)

    objects = Authors()

    def natural_key(self) -> tuple[str]:
        """What names a row, whatever its number."""
        return (self.name,)


class Book(models.Model):
    """Something written."""

    title = models.CharField(max_length=200)
    author = models.ForeignKey(Author, on_delete=models.CASCADE)
    translators = models.ManyToManyField(Author, related_name="translated")
    price = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    added = models.DateTimeField()
    summary = models.TextField()
    cover = models.BinaryField(null=True)


class Loan(models.Model):
    """Who has it."""

    book = models.ForeignKey(Book, null=True, on_delete=models.SET_NULL)
    days = models.DurationField(null=True)
    rating = models.FloatField(null=True)
    notes = models.JSONField(default=dict)


class Visible(models.Manager):
    """Leaves out what is hidden."""

    def get_queryset(self) -> Any:
        """What anybody may see."""
        return super().get_queryset().filter(hidden=False)


class Note(models.Model):
    """Of which the default manager does not show all."""

    text = models.TextField()
    hidden = models.BooleanField(default=False)

    objects = Visible()
