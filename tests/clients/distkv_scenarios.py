"""What programs do with the original's client library, against our native port. One scenario a run:

    python distkv_scenarios.py PORT SCENARIO [NAME PASSWORD]

`: ok` at the end says that it is through."""

import sys

import anyio
from distkv.auth import loader
from distkv.client import open_client
from distkv.exceptions import ClientAuthRequiredError, ServerError
from distkv.util import NotGiven, P, Path

PORT = int(sys.argv[1])


def client(auth=None):
    return open_client(connect={"host": "127.0.0.1", "port": PORT, "auth": auth, "init_timeout": 30})


def user_of(method, **data):
    """Somebody who logs in."""
    return loader(method, "user", server=False).build(data)


async def fails(call, error=ServerError):
    try:
        await call
    except error as exc:
        return str(exc)
    raise AssertionError("it should have failed")


async def values():
    """get, set, delete, with chains."""
    async with client() as c:
        r = await c.set(P("a.b"), value={"x": 1, "y": [1, 2.5, None, b"\xff", 2**70]}, nchain=2)
        assert r.changed and r.chain.node and r.chain.prev is None, r
        g = await c.get(P("a.b"), nchain=2)
        assert g.value == {"x": 1, "y": (1, 2.5, None, b"\xff", 2**70)}, g
        assert g.chain == r.chain, g
        s = await c.set(P("a.b"), value=2, chain=g.chain, nchain=1)
        assert s.chain.tick != g.chain.tick
        text = await fails(c.set(P("a.b"), value=3, chain=g.chain))
        assert "a.b" in text, text
        await fails(c.set(P("a.b"), value=3, chain=None))
        await fails(c.set(P("a.b"), value=3, prev=7))
        await c.set(P("a.b"), value=3, prev=2)
        same = await c.set(P("a.b"), value=3, idem=True, nchain=1)
        assert not same.changed, same
        for path in (Path("t", 1), Path("t", 1.5), Path("t", True), Path("t", b"x"), Path("t", (1, "x"))):
            await c.set(path, value=str(path))
            assert (await c.get(path)).value == str(path), path
        await c.delete(P("a.b"))
        g = await c.get(P("a.b"), nchain=1)
        assert "value" not in g and g.chain is not None, g
        assert "value" not in await c.get(P("no.such"))
        await fails(c._request("no_such_action"))


async def trees():
    """Trees and lists, of more entries than a window has room for."""
    async with client() as c:
        for i in range(40):
            await c.set(P("tree") + [i % 4, f"n{i}"], value=i)
        found = {}
        async for r in c.get_tree(P("tree"), nchain=1):
            found[Path.build(r.path)] = r.value
        assert found == {Path(i % 4, f"n{i}"): i for i in range(40)}, found
        depths = [len(r.path) async for r in c.get_tree(P("tree"), empty=True, max_depth=1)]
        assert depths == [0, 1, 1, 1, 1], depths
        assert list(await c.list(P("tree"))) == [0, 1, 2, 3]
        named = await c.list(P("tree") + [1], with_data=True)
        assert dict(named) == {f"n{i}": i for i in range(1, 40, 4)}, named
        r = await c.delete(P("tree") + [2], recursive=True)
        assert r.changed == 10, r
        gone = [r async for r in await c.delete_tree(P("tree") + [3], nchain=2)]
        assert len(gone) == 10 and all("old_value" in r for r in gone), gone
        assert list(await c.list(P("tree"), empty=False)) == []


async def watches():
    """A watch: what is there, then what changes; and one that is left early."""
    async with client() as c:
        await c.set(P("w.old"), value=1)
        async with c.watch(P("w"), fetch=True, nchain=1) as w:
            r = await w.__anext__()
            assert (r.path, r.value) == (P("w.old"), 1), r
            assert (await w.__anext__()).state == "uptodate"
            for i in range(30):
                await c.set(P("w.n") + [i], value=i)
            for i in range(30):
                r = await w.__anext__()
                assert (list(r.path), r.value) == (["w", "n", i], i), r
            await c.delete(P("w.old"))
            r = await w.__anext__()
            assert "value" not in r and list(r.path) == ["w", "old"], r
        # (A change that comes after it has left kills the client.)
        await c.set(P("later"), value=1)
        assert (await c.get(P("later"))).value == 1


async def mirrors():
    """A mirror, which every write reaches."""
    async with client() as c:
        await c.set(P("m.a"), value=1)
        async with c.mirror(P("m"), need_wait=True) as m:
            await m.wait_loaded()
            assert m.follow(P("a"), create=False).value == 1
            r = await c.set(P("m.b.c"), value=2, nchain=2)
            await m.wait_chain(r.chain)
            assert m.follow(P("b.c"), create=False).value == 2
            r = await m.follow(P("b.c")).update(3)
            await m.wait_chain(r.chain)
            assert (await c.get(P("m.b.c"))).value == 3
            r = await c.delete(P("m.a"), nchain=2)
            await m.wait_chain(r.chain)
            assert not hasattr(m.follow(P("a"), create=False), "value") or m.follow(P("a"), create=False).value is NotGiven


async def messages():
    """Messages between clients."""
    async with client() as c, client() as other:
        async with c.msg_monitor(P("a.+")) as mon:
            await other.msg_send(P("a.b"), data={"x": (1, b"\x00")})
            r = await mon.__anext__()
            assert (tuple(r.topic), r.data) == (("a", "b"), {"x": (1, b"\x00")}), r
            await other.msg_send(["a", "c"], raw=b"\x05")
            assert (await mon.__anext__()).data == 5
        async with c.msg_monitor(["raw"], raw=True) as mon:
            await other.msg_send("raw", raw=b"\xc1")
            assert (await mon.__anext__()).raw == b"\xc1"


async def requests():
    """What else there is."""
    async with client() as c:
        await c.set(P("r.x"), value=1)
        assert await c.get_tock() > 0
        st = await c._request("get_state", nodes=True, known=True, present=True, deleted=True, missing=True)
        assert st.nodes[st.node] >= 1, st
        assert st.nodes[st.node] in (await c._request("enum_node", node=st.node)).result
        await c._request("set_internal", path=P("acl.test.a"), value="rx", iter=False)
        r = await c._request("get_internal", path=P("acl.test.a"), iter=False)
        assert r.value == "rx", r
        r = await c._request("test_acl", path=P("a"), acl="test", mode="r", iter=False)
        assert r.access is True or "r" in r.access, r
        r = await c._request("root", path=P("r"), iter=False)
        assert (await c.get(P("x"))).value == 1
        assert [(list(r.path), r.value) async for r in c.get_tree(Path())] == [(["x"], 1)]


async def users():
    """Makes users of each method, and switches logins on."""
    async with client() as c:
        for method, data in (("root", {}), ("_test", {"name": "joe"}), ("password", {"name": "pat", "password": "12345"})):
            maker = loader(method, "user", make=True, server=False).build(data)
            await maker.send(c)
            if method != "root":
                kept = await loader(method, "user", make=True, server=False).recv(c, maker.ident, _initial=False)
                assert kept.ident == maker.ident
            trial = user_of(method, **data)
            await trial.auth(c)
        await fails(user_of("password", name="pat", password="wrong").auth(c))
        for kind in ("_test", "password"):
            found = [r.ident async for r in await c._request("auth_list", typ=kind, kind="user", nchain=1)]
            assert found == ["joe" if kind == "_test" else "pat"], found
        await c._request("set_auth_typ", typ=sys.argv[3])


async def log_in():
    """Logs in by the method that is in force, after somebody without a login has been refused."""
    try:
        async with client():
            raise AssertionError("nobody has logged in")
    except ClientAuthRequiredError:
        pass
    method = sys.argv[3]
    data = {"root": {}, "_test": {"name": "joe"}, "password": {"name": "pat", "password": "12345"}}[method]
    async with client(auth=user_of(method, **data)) as c:
        await c.set(P("by") + [method], value=1)
        assert (await c.get(P("by") + [method])).value == 1


if __name__ == "__main__":
    anyio.run(globals()[sys.argv[2]], backend="asyncio")
    print(sys.argv[2] + ": ok")
