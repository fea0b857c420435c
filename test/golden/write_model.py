"""What the makers of random models have in common."""

import sys


def finish(writer):
    """Writes what a gguf.GGUFWriter was given, and closes it."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def command(specs, make):
    """The program: makes one of the models by its name."""
    if len(sys.argv) != 3 or sys.argv[1] not in specs:
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(specs)} OUT.gguf")
    make(sys.argv[1], sys.argv[2])
