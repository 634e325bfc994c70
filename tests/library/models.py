"""Authors, books and loans: foreign keys, many-to-many, unicode, dates, decimals and nulls."""

from django.db import models


class Author(models.Model):
    """Somebody who writes."""

    name = models.CharField(max_length=100)
    born = models.DateField(null=True)


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
