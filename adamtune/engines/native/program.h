/* Programs: calls of this package's kernels and of torch's operators, made one after the other.
 *
 * torch's operators are called through libtorch's stable C interface. A call takes its arguments as an array of
 * 64-bit values, and replaces them by what it returns. It takes over the objects among its arguments (tensors, lists,
 * strings, optional values), so they are made anew for each call, and the caller owns those that it returns. Where a
 * call fails, which ends the program, the objects made for it are not freed: which of them it took over is not known.
 */
#include <stdbool.h>

typedef uint64_t word;

/* libtorch's functions, in the order of FUNCTIONS in torch_calls.py; each returns 0, or else it failed. */
struct torch {
    int (*call)(const char *name, const char *overload, word *values);
    int (*copy_tensor)(void *tensor, void **copy); /* another reference to the same tensor */
    int (*delete_tensor)(void *tensor);
    int (*is_defined)(void *tensor, bool *result);
    int (*new_list)(size_t count, void **list);
    int (*append)(void *list, word value);
    int (*length)(void *list, size_t *count);
    int (*item)(void *list, size_t place, word *value);
    int (*delete_list)(void *list);
    int (*new_optional)(word **value);
    int (*new_string)(const char *text, size_t length, void **string);
};

/* What an argument is made from: `content` is the value itself, a tensor, the text of a string of `count` bytes, or
 * what the `count` items of a list, or the one value of an optional argument, are made from. */
enum { VALUE, TENSOR, STRING, LIST, OPTIONAL };
struct argument {
    int64_t kind;
    word content;
    int64_t count;
};

/* A call of an operator. The tensors that it returns are copied into `targets`, if there are any. */
struct call {
    const char *name, *overload;
    const struct argument *arguments;
    int64_t argument_count;
    const int64_t *returns; /* VALUE, TENSOR or LIST, which is a list of tensors */
    int64_t return_count;
    void *const *targets;
    int64_t target_count;
};

typedef int kernel(ARGUMENTS);

/* A step calls a kernel or, where that is null, an operator. */
struct step {
    kernel *kernel;
    void *const *t;
    const size *n;
    const double *r;
    const struct call *call;
};

static int make_argument(const struct torch *torch, const struct argument *from, word *value)
{
    const struct argument *items = (const struct argument *)(uintptr_t)from->content;
    void *object = 0;
    *value = from->content;
    if (from->kind == VALUE)
        return 0;
    if (from->kind == TENSOR && torch->copy_tensor((void *)items, &object))
        return 1;
    if (from->kind == STRING && torch->new_string((const char *)items, (size_t)from->count, &object))
        return 1;
    if (from->kind == OPTIONAL && (torch->new_optional((word **)&object) || make_argument(torch, items, object)))
        return 1;
    if (from->kind == LIST) {
        if (torch->new_list((size_t)from->count, &object))
            return 1;
        for (int64_t i = 0; i < from->count; i++)
            if (make_argument(torch, items + i, value) || torch->append(object, *value))
                return 1;
    }
    *value = (word)(uintptr_t)object;
    return 0;
}

/* Frees a tensor that a call returned; before that, copies it into the next target, if there is one. */
static int accept(const struct torch *torch, void *tensor, void *const **target, void *const *end)
{
    bool defined = false;
    if (*target == end)
        return torch->delete_tensor(tensor);
    if (torch->is_defined(tensor, &defined))
        return 1;
    if (!defined) /* a result that the operator was told to leave out */
        return torch->delete_tensor(tensor);
    word values[3] = {0, (word)(uintptr_t)tensor, false};
    void *copy;
    if (torch->copy_tensor(*(*target)++, &copy))
        return 1;
    values[0] = (word)(uintptr_t)copy;
    return torch->call("aten::copy_", "", values) || torch->delete_tensor((void *)(uintptr_t)values[0]);
}

static int accept_list(const struct torch *torch, void *list, void *const **target, void *const *end)
{
    size_t count;
    word tensor;
    if (torch->length(list, &count))
        return 1;
    for (size_t i = 0; i < count; i++)
        if (torch->item(list, i, &tensor) || accept(torch, (void *)(uintptr_t)tensor, target, end))
            return 1;
    return torch->delete_list(list);
}

static int make_call(const struct torch *torch, const struct call *call)
{
    const int64_t given = call->argument_count, returned = call->return_count;
    word values[(given > returned ? given : returned) + 1];
    for (int64_t i = 0; i < given; i++)
        if (make_argument(torch, call->arguments + i, values + i))
            return 1;
    if (torch->call(call->name, call->overload, values))
        return 1;
    void *const *target = call->targets, *const *end = target + call->target_count;
    for (int64_t i = 0; i < returned; i++) {
        void *object = (void *)(uintptr_t)values[i];
        if (call->returns[i] == TENSOR && accept(torch, object, &target, end))
            return 1;
        if (call->returns[i] == LIST && accept_list(torch, object, &target, end))
            return 1;
    }
    return 0;
}

/* Returns 0, or the number of the first step that failed, counted from 1; the steps after it are not made. */
size run(size count, const struct step *steps, const struct torch *torch)
{
    for (size i = 0; i < count; i++) {
        const struct step *step = steps + i;
        if (step->kernel ? step->kernel(step->t, step->n, step->r) : make_call(torch, step->call))
            return i + 1;
    }
    return 0;
}
