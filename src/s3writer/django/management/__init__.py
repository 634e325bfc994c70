"""Where Django looks for an application's commands."""
