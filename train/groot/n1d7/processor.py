"""GR00T N1.7's processor over a batch of steps at once."""

import random

from gr00t.data.state_action.state_action_processor import StateActionProcessor
from gr00t.model.gr00t_n1d7 import image_augmentations
from gr00t.model.gr00t_n1d7.processing_gr00t_n1d7 import Gr00tN1d7DataCollator, Gr00tN1d7Processor

from millrace.train.groot.batch_processor import SharedBatchProcessor


class BatchProcessor(SharedBatchProcessor):
    """Gr00tN1d7Processor for many steps; it may drop the states of some."""

    KINDS = (Gr00tN1d7Processor, StateActionProcessor, Gr00tN1d7DataCollator)
    AUGMENTATIONS = image_augmentations

    def drops_state(self, tag: str) -> bool:
        """Never, always, or by chance in training; where it is by chance, evaluation draws the number, too."""
        processor = self.processor
        if processor.exclude_state or getattr(processor.modality_configs[tag]["state"], "exclude_state", False):
            return True
        probability: float = processor.state_dropout_prob
        return probability > 0 and random.random() < probability and bool(processor.training)
