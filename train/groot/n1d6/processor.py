"""GR00T N1.6's processor over a batch of steps at once."""

from gr00t.data.state_action.state_action_processor import StateActionProcessor
from gr00t.model.gr00t_n1d6 import image_augmentations
from gr00t.model.gr00t_n1d6.processing_gr00t_n1d6 import Gr00tN1d6DataCollator, Gr00tN1d6Processor

from millrace.train.groot.batch_processor import SharedBatchProcessor


class BatchProcessor(SharedBatchProcessor):
    """Gr00tN1d6Processor for many steps."""

    KINDS = (Gr00tN1d6Processor, StateActionProcessor, Gr00tN1d6DataCollator)
    AUGMENTATIONS = image_augmentations
