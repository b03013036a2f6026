"""Events of a training or a job, sent to the trackers of experiments that people use."""
