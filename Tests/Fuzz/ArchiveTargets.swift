// Archives of `postern backup`, which root restores and a stranger may have made: manifests alone, tars and compressed
// octets with a right trailer, and archives of our own writing. Whatever comes in, no path leaves the root.

import Glibc
import PosternMail
import TestSupport

@testable import PosternAdmin
@testable import PosternDaemon

/// What the octets are, what is found where files go; the octets.
@Sendable func fuzzArchive(_ input: inout FuzzInput) {
    let kind = input.octet()
    let there = input.octet()
    switch kind & 3 {
    case 0:
        do throws(BackupManifestError) { hold(try BackupManifest(json: input.remainder()), there) } catch {
            require(isPrintable(error.description), "error \(error)")
        }
    case 1: _ = read(ZstandardFrame.raw(input.remainder()), there)
    case 2: _ = read(input.remainder(), there)
    default: roundTrip(&input, there)
    }
}

// MARK: Reading

/// - Parameter body: without its trailer.
/// - Returns: the contents; nil for what was refused.
private func read(_ body: [UInt8], _ there: UInt8) -> [[UInt8]]? {
    let octets = body + ArchiveTrailer.make(hash: certain("a hash") { try ContentDigest.hash(body) })
    require(ftruncate(archiveFile, 0) == 0, "ftruncate")
    let written = octets.withUnsafeBytes { pwrite(archiveFile, $0.baseAddress, $0.count, 0) }
    require(written == octets.count, "pwrite: \(written)")
    var found: [[UInt8]] = []
    do throws(CommandFailure) {
        let reader = try ArchiveReader("/proc/self/fd/\(archiveFile)")
        hold(reader.manifest, there)
        var left = 0
        try reader.read { piece throws(CommandFailure) in
            switch piece {
            case .begin(let entry):
                left = entry.size
                found.append([])
            case .octets(let octets):
                left -= octets.count
                require(left >= 0 && !octets.isEmpty, "more of a member than its size")
                // What is large is made of little: only its count is of interest.
                if found[found.count - 1].count < 1 << 16 { found[found.count - 1] += octets }
            case .end(let entry): require(left == 0, "\(entry.shown): \(left) octets are missing")
            }
        }
        require(found.count == reader.manifest.entries.count, "\(found.count) members")
    } catch {
        require(error.status == .badData && isPrintable(error.text), "\(error)")
        return nil
    }
    return found
}

private let archiveFile: Int32 = {
    let file = tmpfile()
    require(file != nil, "tmpfile")
    return file.map { fileno($0) } ?? -1
}()

// MARK: Our own

/// Files up to an empty piece: a letter for the kind, the path; then its content. What can be written reads the same.
private func roundTrip(_ input: inout FuzzInput, _ there: UInt8) {
    var entries: [BackupManifest.Entry] = []
    var contents: [[UInt8]] = []
    while entries.count < 20 {
        let name = input.piece()
        guard let letter = name.first else { break }
        let content = input.piece()
        let kinds = BackupManifest.Kind.allCases
        let states = BackupManifest.State.allCases
        let kind = kinds[Int(letter) % kinds.count]
        entries.append(
            BackupManifest.Entry(
                kind: kind, original: String(decoding: name.dropFirst(), as: UTF8.self), owner: "root", group: "4",
                mode: UInt32(letter) & 0o777, size: content.count,
                sha256: certain("a hash") { try ContentDigest.hash(content) },
                state: kind == .state ? states[Int(letter >> 2) % states.count] : nil))
        contents.append(content)
    }
    let manifest = BackupManifest(
        version: "0.1.0", host: "mx1.example.org", created: UnixTime(seconds: 1_794_999_000),
        configuration: entries.first { $0.kind == .config }?.original ?? "", stateDirectory: "/var/lib/postern",
        entries: entries)
    var archive: [UInt8] = []
    let writer: ArchiveWriter
    do throws(CommandFailure) { writer = try ArchiveWriter(manifest) { archive += $0 } } catch {
        require(isPrintable(error.text), "\(error)")
        return
    }
    certain("a manifest that was taken is written") {
        for content in contents {
            var pieces = content.isEmpty ? [] : [content]
            try writer.add { () throws(CommandFailure) in pieces.popLast() ?? [] }
        }
        try writer.finish()
    }
    let found = read(Array(archive.dropLast(ArchiveTrailer.octets)), there)
    require(found == contents, "our own archive of \(entries.map(\.path)) reads as \(String(describing: found))")
}

// MARK: What is made of it

/// A manifest that was taken, and the plans for it.
private func hold(_ manifest: BackupManifest, _ there: UInt8) {
    let again = try? BackupManifest(json: manifest.json)  // nil: another
    require(again == manifest, "a manifest that reads back as another: \(shown(manifest.json))")
    let owners = RestoreOwners(user: { _ in (7, 8) }, group: { _ in 9 }, keepsCallers: there & 1 == 0 ? nil : "tests")
    for configuration in [nil, "/srv/other/postern.toml"] {
        var places = RestorePlan.Places()
        places.configuration = configuration
        do {
            let plan = try RestorePlan(
                manifest, places, owners: owners, time: "20261121T120000Z", token: "t",
                found: { path, _ in
                    // Nothing is there under a kept file's name.
                    path.utf8.reduce(there) { $0 &+ $1 } & 4 == 0 || path.hasSuffix("Z") ? .absent : .link
                },
                hasFolder: { $0 == "/" || $0 == "/etc" && there & 2 == 0 })
            hold(plan)
            if configuration == nil {
                require(plan.steps.allSatisfy { $0.target == $0.entry.original }, "a file goes where it was not")
            }
        } catch let error as RestoreObstacles {
            require(!error.texts.isEmpty && error.texts.allSatisfy(isPrintable), "\(error)")
        } catch {
            require(error is CommandFailure, "\(error)")
        }
    }
}

private func hold(_ plan: RestorePlan) {
    var names: Set<String> = []
    for step in plan.steps {
        require(isBelowRoot(step.target) && step.mode <= 0o777, "\(step)")
        let folder = Files.folder(of: step.target)
        for name in [step.temporaryName] + (step.change == .replaced ? [step.keptName] : []) {
            require(!name.isEmpty && !name.utf8.contains(0x2F) && name != ".." && name != ".", "name \(name)")
            require(names.insert("\(folder)/\(name)").inserted, "two files of one name \(folder)/\(name)")
        }
        require(names.insert(folder == "/" ? "/\(step.target)" : step.target).inserted, "two files at \(step.target)")
    }
    let targets = Set(plan.steps.map(\.target))
    for folder in plan.folders {
        require(isBelowRoot(folder.path) && !targets.contains(folder.path), "\(folder) is a file, or above the root")
    }
    require(plan.folders.map(\.path) == plan.folders.map(\.path).sorted(), "inner folders before outer ones")
}

private func isBelowRoot(_ path: String) -> Bool {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count > 1 && parts.first == ""
        && parts.dropFirst().allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) }
}

private func isPrintable(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
}
