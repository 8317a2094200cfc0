"""python -m service: the same as the command sonoprobe."""

from service.cli.main import app

if __name__ == "__main__":
    app()
