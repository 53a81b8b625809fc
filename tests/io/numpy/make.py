"""Writes the NumPy files beside it, with numpy 1.24. Run it where it lies; the tests need only the files.

Every array is [[v0, v1, v2], [v3, v4, v5]] with vi = i for unsigned integers, i - 2 for signed ones, (i - 2) / 2 for
floats and i % 2 for bools, unless said otherwise.
"""
import numpy as np

count = np.arange(6).reshape(2, 3)
arrays = {kind: count.astype(kind) for kind in ("u1", "u2", "u4", "u8")}
arrays |= {kind: (count - 2).astype(kind) for kind in ("i1", "i2", "i4", "i8", ">i2", ">i8")}
arrays |= {kind: ((count - 2) / 2).astype(kind) for kind in ("f2", "f4", "f8", ">f2", ">f4", ">f8")}
arrays["b1"] = (count % 2).astype("b1")
arrays["fortran"] = np.asfortranarray(arrays["f4"])
names = {name: name.replace(">", "big_") for name in arrays}
np.savez("stored.npz", **{names[name]: array for name, array in arrays.items()})
np.savez_compressed("packed.npz", **{names[name]: array for name, array in arrays.items()}, large=np.zeros((100, 100)))

for name in ("f4", "f8", "i8", "b1"):
    np.save(f"{name}.npy", arrays[name])
np.save("scalar.npy", np.float64(2.5))
np.save("vector.npy", np.arange(5, dtype="f4"))
np.save("empty.npy", np.zeros((0, 3)))
np.save("fortran3.npy", np.asfortranarray(np.arange(24, dtype="f8").reshape(2, 3, 4)))
with open("version2.npy", "wb") as file:
    np.lib.format.write_array(file, arrays["i8"], version=(2, 0))
np.save("complex.npy", arrays["f4"].astype("c8"))
np.save("text.npy", np.array(["a", "bc"]))
np.save("records.npy", np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]))
np.save("object.npy", np.array([None, 1], dtype=object), allow_pickle=True)
