"""Vectors of k numbers in compiled code: loaded, computed with and stored as a whole.

LLVM makes no vector instructions of a loop over the k factors of a block, as the arrays in
it might overlap, and keeps its sums in memory. With a type of their own they are a few
instructions on registers. `k` must be known when a kernel is compiled.
"""

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model


class Vector(types.Type):
    """The type of k numbers."""

    def __init__(self, dtype, k):
        self.dtype, self.k = dtype, k
        super().__init__(f"Vector({dtype}, {k})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        item = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(item, kind.k))


def _pointer(context, builder, array_type, array, i, k):
    """Where ``array[i : i + k]`` is, as an address of a vector."""
    array = context.make_array(array_type)(context, builder, array)
    if config.BOUNDSCHECK:
        last = builder.add(i, ir.Constant(i.type, k - 1))
        cgutils.do_boundscheck(context, builder, i, array.nitems)
        cgutils.do_boundscheck(context, builder, last, array.nitems)
    kind = ir.VectorType(context.get_data_type(array_type.dtype), k)
    return builder.bitcast(builder.gep(array.data, [i]), kind.as_pointer())


def _filled(builder, kind, number):
    """The vector of a number k times."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, nothing, zeros)


def _multiply_add(builder, left, right, total):
    """``left * right + total``, rounded once where the machine can."""
    kind = total.type
    name = f"llvm.fmuladd.v{kind.count}{'f32' if kind.element == ir.FloatType() else 'f64'}"
    function = ir.FunctionType(kind, [kind] * 3)
    function = builder.module.declare_intrinsic(name, fnty=function)
    return builder.call(function, [left, right, total])


@intrinsic(prefer_literal=True)
def zeros(typing, like, k):
    """k zeros of the type of the number `like`."""
    kind = Vector(like, k.literal_value)

    def generate(context, builder, signature, args):
        return ir.Constant(context.get_value_type(kind), None)

    return kind(like, k), generate


@intrinsic(prefer_literal=True)
def load(typing, array, i, like, k):
    """``array[i : i + k]``, in the type of the number `like`, which may be a wider one."""
    kind = Vector(like, k.literal_value)

    def generate(context, builder, signature, args):
        vector = builder.load(_pointer(context, builder, array, *args[:2], kind.k))
        vector.align = array.dtype.bitwidth // 8
        if array.dtype == like:
            return vector
        return builder.fpext(vector, context.get_value_type(kind))

    return kind(array, i, like, k), generate


@intrinsic
def store(typing, array, i, vector):
    """Set ``array[i : i + k]``."""

    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, *args[:2], vector.k)
        builder.store(args[2], pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, i, vector), generate


@intrinsic
def add_scaled(typing, total, vector, x):
    """``total + x * vector``, where x is a number."""

    def generate(context, builder, signature, args):
        total, vector, x = args
        return _multiply_add(builder, vector, _filled(builder, vector.type, x), total)

    return total(total, vector, total.dtype), generate


@intrinsic
def add_product(typing, total, left, right):
    """``total + left * right``, element by element."""

    def generate(context, builder, signature, args):
        total, left, right = args
        return _multiply_add(builder, left, right, total)

    return total(total, left, right), generate


@intrinsic
def sum_of(typing, vector):
    """The sum of the k numbers."""

    def generate(context, builder, signature, args):
        kind = args[0].type
        name = f"llvm.vector.reduce.fadd.v{kind.count}f{vector.dtype.bitwidth}"
        reduction = ir.FunctionType(kind.element, [kind.element, kind])
        reduction = builder.module.declare_intrinsic(name, fnty=reduction)
        start = ir.Constant(kind.element, 0)
        return builder.call(reduction, [start, args[0]], fastmath=("reassoc",))

    return vector.dtype(vector), generate


@intrinsic
def prefetch(typing, array, i):
    """Ask for a number that is needed soon. The processor cannot guess which row is next."""

    def generate(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(prefetch, [pointer, flag(0), flag(3), flag(1)])  # read, keep, data
        return context.get_dummy_value()

    return types.void(array, i), generate
