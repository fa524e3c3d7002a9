// What `postern metrics` tells of commands that ended long ago: they leave it in the state folder.

extension MetricFamily {
    /// In the place of a daemon's name.
    public static let commandLine = "postern"
    public static let backupTime = "postern_backup_last_success_timestamp_seconds"
    public static let backupSize = "postern_backup_last_size_octets"
    public static let backupTested = "postern_backup_last_test_timestamp_seconds"

    static let commands: [MetricFamily] = {
        let own = Maker(daemon: commandLine)
        return [
            own.gauge(
                backupTime,
                "When postern backup create last made a whole archive, since 1970; absent where it never did."),
            own.gauge(backupSize, "Size of that archive."),
            own.gauge(
                backupTested,
                "When postern backup test last found that a backup of this host would do, since 1970; absent where it "
                    + "never did."),
        ]
    }()
}
