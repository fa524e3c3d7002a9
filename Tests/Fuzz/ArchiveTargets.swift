// Archives of `postern backup`, which root restores and a stranger may have made: manifests alone, tars and compressed
// octets with a right trailer, tars whose members are nearly those of their manifest, and archives of our own writing.
// Whatever comes in, no path leaves the root. What only a checksum would stop is given a right one: libarchive is not
// instrumented, so no fuzzer finds its way through it.

import Glibc
import PosternMail
import TestSupport

@testable import PosternAdmin
@testable import PosternDaemon

/// What the octets are, what is found where files go; the octets.
@Sendable func fuzzArchive(_ input: inout FuzzInput) {
    let kind = input.octet()
    let there = input.octet()
    switch kind & 7 {
    case 0:
        do throws(BackupManifestError) { hold(try BackupManifest(json: input.remainder()), there) } catch {
            require(isPrintable(error.description), "error \(error)")
        }
    case 1: _ = read(ZstandardFrame.raw(TarOctets.summed(input.remainder())), there)
    case 2: _ = read(input.remainder(), there)
    case 3, 7: roundTrip(&input, there)
    default: forge(&input, there)
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
            case .end(let entry):
                require(left == 0, "\(entry.shown): \(left) octets are missing")
                guard let content = found.last, content.count == entry.size else { break }
                let hash = certain("a hash") { try ContentDigest.hash(content) }
                require(hash == entry.sha256, "\(entry.shown) has other octets than the manifest says")
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
        entries.append(entry(letter, name.dropFirst(), input.piece(), &contents))
    }
    let manifest = manifest(entries)
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

/// - Parameter letter: chooses the kind, the mode and whose state it is.
private func entry(
    _ letter: UInt8, _ path: ArraySlice<UInt8>, _ content: [UInt8], _ contents: inout [[UInt8]]
) -> BackupManifest.Entry {
    contents.append(content)
    let kinds = BackupManifest.Kind.allCases
    let states = BackupManifest.State.allCases
    let kind = kinds[Int(letter) % kinds.count]
    return BackupManifest.Entry(
        kind: kind, original: String(decoding: path, as: UTF8.self), owner: "root", group: "4",
        mode: UInt32(letter) & 0o777, size: content.count,
        sha256: certain("a hash") { try ContentDigest.hash(content) },
        state: kind == .state ? states[Int(letter >> 2) % states.count] : nil)
}

private func manifest(_ entries: [BackupManifest.Entry]) -> BackupManifest {
    BackupManifest(
        version: "0.1.0", host: "mx1.example.org", created: UnixTime(seconds: 1_794_999_000),
        configuration: entries.first { $0.kind == .config }?.original ?? "", stateDirectory: "/var/lib/postern",
        entries: entries)
}

// MARK: Forged

/// Members up to an empty path: what is wrong with it, what tar says it is, a letter for the kind, the path; then its
/// content. Where nothing is wrong with any, what is read is what was put in.
private func forge(_ input: inout FuzzInput, _ there: UInt8) {
    var entries: [BackupManifest.Entry] = []
    var members: [UInt8] = []
    var contents: [[UInt8]] = []
    var isSound = true
    for _ in 0..<20 {
        let flaws = ForgedFlaws(rawValue: input.octet())
        let type = input.octet()
        let name = input.piece()
        guard let letter = name.first else { break }
        var entry = entry(letter, name.dropFirst(), input.piece(), &contents)
        let content = contents.removeLast()
        isSound = isSound && flaws.isEmpty && (type == 0 || type == 0x30)
        if flaws.contains(.otherSize) { entry.size += 1 }
        if flaws.contains(.otherHash) { entry.sha256 = [UInt8](repeating: letter, count: 32) }
        if !flaws.contains(.unlisted) {
            entries.append(entry)
            contents.append(content)
        }
        if flaws.contains(.missing) { continue }
        let path = Array(entry.path.utf8)
        if flaws.contains(.special) {
            // Extended headers: `key=value` with each one's length before it. Source: POSIX.1-2001, pax Header Block.
            let pairs = content.split(separator: 0x0A).map { pair in
                let count = pair.count + 2
                let length = count + String(count).utf8.count
                return Array("\(count + String(length).utf8.count) ".utf8) + pair + [0x0A]
            }
            members += TarOctets.member(Array("pax".utf8), type: type, content: Array(pairs.joined()))
        }
        if path.count > 100 || flaws.contains(.longName) {
            members += TarOctets.member(Array("././@LongLink".utf8), type: 0x4C, content: path + [0])
        }
        let isPlain = flaws.contains(.special) || type == 0
        members += TarOctets.member(
            Array(path.prefix(100)), type: isPlain ? 0x30 : type, content: content,
            size: flaws.contains(.otherTarSize) ? Int(letter) : nil)
        if flaws.contains(.twice) { members += TarOctets.member(Array(path.prefix(100)), type: 0x30, content: content) }
    }
    let manifest = manifest(entries)
    var isListed = true
    do throws(BackupManifestError) { try manifest.check() } catch { isListed = false }
    let head = TarOctets.member(Array(BackupManifest.path.utf8), type: 0x30, content: manifest.json)
    let found = read(ZstandardFrame.raw(head + members + TarOctets.end), there)
    require(found == nil || isListed, "a manifest was taken that is none of ours: \(manifest)")
    if isSound && isListed {
        require(found == contents, "members of \(entries.map(\.path)) read as \(String(describing: found))")
    }
}

/// What is wrong with a member.
private struct ForgedFlaws: OptionSet {
    let rawValue: UInt8
    static let unlisted = ForgedFlaws(rawValue: 1)
    static let missing = ForgedFlaws(rawValue: 2)
    static let otherSize = ForgedFlaws(rawValue: 4)
    static let otherHash = ForgedFlaws(rawValue: 8)
    static let otherTarSize = ForgedFlaws(rawValue: 16)
    static let longName = ForgedFlaws(rawValue: 32)
    static let special = ForgedFlaws(rawValue: 64)
    static let twice = ForgedFlaws(rawValue: 128)
}

/// Tars with right checksums. Source: POSIX.1-2001, ustar Interchange Format.
private enum TarOctets {
    static let block = 512
    static let end = [UInt8](repeating: 0, count: 2 * block)

    static func member(_ name: [UInt8], type: UInt8, content: [UInt8], size: Int? = nil) -> [UInt8] {
        let digits = String(size ?? content.count, radix: 8)
        let size = String(repeating: "0", count: max(0, 11 - digits.count)) + digits
        var head = Array(name.prefix(100))
        head += [UInt8](repeating: 0, count: 100 - head.count)
        head += Array("0000600\u{0}0000000\u{0}0000000\u{0}\(size)\u{0}00000000000\u{0}        ".utf8)
        head.append(type)
        head += [UInt8](repeating: 0, count: 100)
        head += Array("ustar\u{0}00".utf8)
        head += [UInt8](repeating: 0, count: block - head.count)
        let fill = (block - content.count % block) % block
        return summed(head) + content + [UInt8](repeating: 0, count: fill)
    }

    /// Gives each header the checksum that it should have.
    static func summed(_ octets: [UInt8]) -> [UInt8] {
        var octets = octets
        var start = 0
        while start + block <= octets.count {
            let head = octets[start..<start + block]
            guard head.contains(where: { $0 != 0 }) else {
                start += block
                continue
            }
            let sum =
                head.reduce(0) { $0 + Int($1) } - octets[start + 148..<start + 156].reduce(0) { $0 + Int($1) } + 256
            let digits = String(sum, radix: 8)
            let text = String(repeating: "0", count: 6 - digits.count) + digits + "\0 "
            octets.replaceSubrange(start + 148..<start + 156, with: text.utf8)
            let digitsOfSize = octets[start + 124..<start + 135].filter { $0 >= 0x30 && $0 < 0x38 }
            let size = Int(String(decoding: digitsOfSize, as: UTF8.self), radix: 8) ?? 0
            start += block + (size + block - 1) / block * block
        }
        return octets
    }
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
