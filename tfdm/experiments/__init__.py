"""What a command does, each as a function that a notebook can call too."""
