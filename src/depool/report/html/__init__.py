"""`--report`: one HTML file that shows what a conversion did, or would do."""

from depool.report.html.page import of_result, of_survey, prepare, write

__all__ = ["of_result", "of_survey", "prepare", "write"]
