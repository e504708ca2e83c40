"""Measures of reconstructed and generated speech, and the report on them."""

from jaxcodec.evals.evaluate import Evaluation as Evaluation
from jaxcodec.evals.evaluate import Loaded as Loaded
from jaxcodec.evals.evaluate import evaluate as evaluate
from jaxcodec.evals.evaluate import ground_truth as ground_truth
from jaxcodec.evals.evaluate import load_metrics as load_metrics
from jaxcodec.evals.metric import Item as Item
from jaxcodec.evals.metric import Metric as Metric
from jaxcodec.evals.opus import MIN_BITRATE as MIN_BITRATE
from jaxcodec.evals.opus import opus_items as opus_items
from jaxcodec.evals.registry import GENERATION as GENERATION
from jaxcodec.evals.registry import OF_CODES as OF_CODES
from jaxcodec.evals.registry import RECONSTRUCTION as RECONSTRUCTION
from jaxcodec.evals.registry import make_metrics as make_metrics
from jaxcodec.evals.results import build_results as build_results
from jaxcodec.evals.results import read_results as read_results
from jaxcodec.evals.results import write_results as write_results
from jaxcodec.evals.table import format_table as format_table
