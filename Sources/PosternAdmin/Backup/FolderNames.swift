// The names in a folder, read from an open stream.

internal import Glibc

enum FolderNames {
    /// - Parameter limit: most names that are given, `.` and `..` not among them.
    static func read(_ stream: OpaquePointer, atMost limit: Int) -> [String] {
        var names: [String] = []
        while names.count < limit, let entry = readdir(stream) {
            // readdir(3): it ends with a NUL; its declared length is not its length.
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}
