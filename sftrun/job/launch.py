"""torchrun's agent, with one addition: it dies with the supervisor, and its workers with it."""

from sftrun.job.process import guard

if __name__ == "__main__":
    guard()
    from torch.distributed.run import main

    main()
