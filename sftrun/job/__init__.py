"""The job beside the GPU.  Imports the contract and the ML libraries, nothing else of ours."""
