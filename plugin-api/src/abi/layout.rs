//! The layout of all that crosses, as text, for the golden dump.

use super::module::PluginModule_Ref;
use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TLField, TLFunction, TypeLayout};
use std::collections::{BTreeSet, HashSet};
use std::fmt::Write;

/// Every type that is reachable from the root module, one block a type: size,
/// alignment, fields and signatures, in order of names. The same text from any
/// compiler that lays out `repr(C)` types alike.
pub fn dump() -> String {
    let mut dump = Dump { seen: HashSet::new(), blocks: BTreeSet::new() };
    dump.visit(<PluginModule_Ref as StableAbi>::LAYOUT, "");
    dump.blocks.into_iter().collect::<Vec<_>>().join("\n")
}

struct Dump {
    /// By identity: types of one name (each trait has a `VTable`) are several.
    seen: HashSet<String>,
    blocks: BTreeSet<String>,
}

impl Dump {
    /// `owner` is the trait object on the way here; what is made for it alone
    /// bears no name of its own.
    fn visit(&mut self, layout: &'static TypeLayout, owner: &str) {
        if !self.seen.insert(format!("{:?}", layout.get_utypeid())) {
            return;
        }
        let own = layout.name();
        let owner = if own.ends_with("_TO") { own } else { owner };
        let title = match own {
            "RObject" | "RObjectVtable" | "VTable" => format!("{own} of {owner}"),
            _ => name(layout),
        };
        let mut block = format!("{title}: size {}, align {}\n", layout.size(), layout.alignment());
        match layout.data() {
            TLData::Enum(variants) => {
                for name in variants.variant_names_iter() {
                    let _ = writeln!(block, "  variant {name}");
                }
            }
            TLData::PrefixType(prefix) => {
                let _ = writeln!(block, "  the first {} fields are never missing", prefix.first_suffix_field);
            }
            _ => {}
        }
        let fields = layout.get_fields().map(|fields| fields.to_vec()).unwrap_or_default();
        fields.iter().for_each(|one| field(one, &mut block));
        self.blocks.insert(block);
        fields.iter().for_each(|one| self.visit(one.layout(), owner));
        // Parameters, results and type arguments are no fields.
        layout.shared_vars().type_layouts().iter().for_each(|next| self.visit(next(), owner));
    }
}

fn field(field: &TLField, block: &mut String) {
    let functions: Vec<String> = field.function_range().iter().map(|one| signature(&one)).collect();
    let _ = match functions.as_slice() {
        [] => writeln!(block, "  {}: {}", field.name(), name(field.layout())),
        _ => writeln!(block, "  {}: {} = {}", field.name(), name(field.layout()), functions.join(", ")),
    };
}

fn signature(function: &TLFunction) -> String {
    let parameters: Vec<String> = function.param_type_layouts.iter().map(|of| name(of())).collect();
    let result = function.return_type_layout().map_or("()".to_owned(), |of| name(of()));
    let lifetimes: Vec<String> =
        function.paramret_lifetime_indices.as_slice().iter().map(|pair| format!("{pair:?}")).collect();
    let unsafety = if function.fn_qualifs.is_unsafe() { "unsafe " } else { "" };
    let line = format!("{unsafety}fn({}) -> {result} {}", parameters.join(", "), lifetimes.join(" "));
    line.trim_end().to_owned()
}

/// A type's name with its arguments, which `abi_stable` leaves out where they
/// are seen in the fields.
fn name(layout: &'static TypeLayout) -> String {
    let field = |at: usize| {
        let fields = layout.get_fields();
        fields.and_then(|fields| fields.get(at)).map_or(String::new(), |field| name(field.layout()))
    };
    let whole = layout.full_type().to_string();
    let argument = || layout.shared_vars().type_layouts().first().map(|of| name(of()));
    let own = layout.name();
    match own {
        "ROption" => format!("ROption<{}>", field(0)),
        "RResult" => format!("RResult<{}, {}>", field(0), field(1)),
        // Their first field is the pointer to what they hold.
        "RVec" | "RSlice" | "RRef" | "RMut" => {
            let pointer = field(0);
            format!("{own}<{}>", pointer.strip_prefix("*const ").unwrap_or(&pointer))
        }
        "NonNull" => field(0),
        _ if whole.starts_with('*') || whole.starts_with('&') => {
            let mark: String = whole.chars().take_while(|mark| !mark.is_whitespace()).collect();
            let mutable = if mark.starts_with('&') && whole.contains(" mut ") { " mut" } else { "" };
            argument().map_or(whole, |argument| format!("{mark}{mutable} {argument}"))
        }
        _ => whole.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}
