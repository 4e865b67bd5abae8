"""What the program does with a disk, each thing once: files that are whole or not there, locks, digests, JSON.

`files` writes and flushes, `commands` does so for a command of the user's and says in words what the system refuses,
`flock` says who is at something, `digests` what a file holds, `outside` reads JSON that another process has written.
"""
