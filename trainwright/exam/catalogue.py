"""Which exams are there? One table by name, made of the rooms' own."""

from collections.abc import Mapping

from trainwright.core.errors import TrainwrightError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.exam import algorithm, data, loss, model
from trainwright.exam.exam import Question

EXAMS: Mapping[str, Question] = {
    question.name: question
    for room in (data, model, loss, algorithm)
    for question in room.QUESTIONS
}
# As the rules' pages call them -> what takes them.
ALSO: Mapping[str, str] = {
    "rate_tenth": "lower_rate", "lower_rate_from_start": "lower_rate",
    "rate_times_ten": "higher_rate", "range_test": "learning_rate_range",
    "continue_run": "train_on", "batch_times_four": "larger_batch",
    "batch_quarter": "smaller_batch", "cross_validated_label_noise": "label_noise",
    "shuffled_epoch": "shuffled_epochs", "learning_curve": "data_halves",
    "more_data": "data_halves", "re_init_arm": "reinitialised", "rescaled_start": "reinitialised",
    "tiny_step": "tiny_step_downhill", "one_step": "tiny_step_downhill",
    "repaired_head_arm": "repaired_head", "swap_loss_arm": "repaired_head",
    "term_off_arm": "penalty_off", "penalty_off_arm": "penalty_off", "dropout_arm": "dropout_off",
    "eval_mode_probe": "eval_mode", "drop_block": "ablate_block",
    "standardised_copy": "standardised_inputs",
}  # fmt: skip


def exam(name: str) -> Question:
    """Raises TrainwrightError with near names."""
    wanted = name.strip().lower()
    found = EXAMS.get(ALSO.get(wanted, wanted))
    if found is None:
        raise TrainwrightError(
            phrase("there is no exam {name}", name=shown(name)),
            allowed=", ".join(EXAMS),
            do=did_you_mean(name, [*EXAMS, *ALSO]),
        )
    return found
