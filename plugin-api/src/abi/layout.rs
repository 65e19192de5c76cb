//! The layout of all that crosses, as text, for the golden dump.

use super::module::PluginModule_Ref;
use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TLField, TypeLayout};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Every type that is reachable from the root module, one block a type: size,
/// alignment, fields and signatures, in order of names. The same text from any
/// compiler that lays out `repr(C)` types alike.
pub fn dump() -> String {
    let mut blocks = BTreeSet::new();
    let mut seen = BTreeSet::new();
    visit(<PluginModule_Ref as StableAbi>::LAYOUT, &mut seen, &mut blocks);
    blocks.into_iter().collect::<Vec<_>>().join("\n")
}

fn visit(layout: &'static TypeLayout, seen: &mut BTreeSet<String>, blocks: &mut BTreeSet<String>) {
    let name = layout.full_type().to_string();
    let mut block = format!("{name}: size {}, align {}\n", layout.size(), layout.alignment());
    let mut inner: Vec<&'static TypeLayout> = Vec::new();
    let field = |field: TLField, block: &mut String, inner: &mut Vec<_>| {
        let _ = writeln!(block, "  {}: {}", field.name(), field.full_type());
        inner.push(field.layout());
        for function in field.function_range().iter() {
            let signature = function.to_string();
            let words: Vec<&str> = signature.split_whitespace().collect();
            let _ = writeln!(block, "    {}", words.join(" "));
        }
    };
    match layout.data() {
        TLData::Struct { fields } | TLData::Union { fields } => {
            fields.iter().for_each(|one| field(one, &mut block, &mut inner));
        }
        TLData::Enum(variants) => {
            for name in variants.variant_names_iter() {
                let _ = writeln!(block, "  variant {name}");
            }
            variants.fields.iter().for_each(|one| field(one, &mut block, &mut inner));
        }
        TLData::PrefixType(prefix) => {
            let _ = writeln!(block, "  first {} fields from the beginning", prefix.first_suffix_field);
            prefix.fields.iter().for_each(|one| field(one, &mut block, &mut inner));
        }
        TLData::Primitive(_) | TLData::Opaque => {}
    }
    // Two types of one name (an erased trait object, say) differ in their block.
    if !seen.insert(block.clone()) {
        return;
    }
    blocks.insert(block);
    inner.into_iter().for_each(|next| visit(next, seen, blocks));
    layout.shared_vars().type_layouts().iter().for_each(|next| visit(next(), seen, blocks));
}
