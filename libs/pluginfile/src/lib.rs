//! Opening a plugin file: manifest, header, layout check both ways round
