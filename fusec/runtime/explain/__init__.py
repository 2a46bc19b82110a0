"""What a call does and why: its plan as a tree, with what every launch moves, holds and takes."""
