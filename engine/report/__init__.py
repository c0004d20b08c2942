"""`millrace report`: a page to look at that shows what a dataset holds and what is remarkable."""

from millrace.engine.report.conversion_report import ReportFile, report_conversion
from millrace.engine.report.make_report import write_report

__all__ = ["ReportFile", "report_conversion", "write_report"]
