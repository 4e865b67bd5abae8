"""How the job obeys its step's plan: what the machine can do, what it refuses, what is done and seen in the end."""
