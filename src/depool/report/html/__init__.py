"""`--report`: one HTML file that shows what a conversion did, or would do."""

from depool.report.html.page import BASE_STYLE, of_result, of_survey, prepare, write

__all__ = ["BASE_STYLE", "of_result", "of_survey", "prepare", "write"]
