"""Lets the original client run: it was written against a pre-release of anyio 3, where `TaskGroup.spawn` needed no `await` and a few
names stood at the top of the package. A `.pth` file imports this when Python starts."""

import warnings


class _Nothing:
    def __await__(self):
        return iter(())


def _spawn(self, func, *args, name=None):
    self.start_soon(func, *args, name=name)
    return _Nothing()


def _apply():
    import anyio
    from anyio._backends import _asyncio
    from anyio._core import _compat

    for name in dir(_compat):
        if name.startswith("Deprecated") and not hasattr(anyio, name):
            setattr(anyio, name, getattr(_compat, name))
    _asyncio.TaskGroup.spawn = _spawn
    warnings.filterwarnings("ignore", category=DeprecationWarning)


_apply()
