"""A Django application of several tables, for real serializers to serialize."""
