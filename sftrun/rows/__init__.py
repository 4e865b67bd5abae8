"""text files -> rows -> tokens and labels: the one way, used by the checks and by the job."""
